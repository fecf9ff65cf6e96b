"""Evaluation: suites of episodes with seeds of their own, played in worker processes, judged with intervals, shown in a report.

    suite -> evaluate --> rollout (parent: policies) <--pipes--> worker --> play --> sim.env
                 |             `--> outcome (episodes.jsonl)                  `--> video
                 `--> results (statistics) --> report (plots)         baselines: what must be beaten

Nothing is imported here: a worker must not meet jax on its way to the simulator.
"""
