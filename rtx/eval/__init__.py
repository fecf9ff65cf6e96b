"""Evaluation: suites of episodes with seeds of their own, played in worker processes, judged with intervals, shown in a report.

    suite -> evaluate --> rollout (parent: policies) <--pipes--> worker --> play --> sim.env
                 |             `--> outcome (episodes.jsonl)                  `--> video
                 `--> results (statistics) --> report                 baselines: what must be beaten

statistics and report are rooms of their own, so are the simulators: sim ours, public the suites of others.

Nothing is imported here: a worker must not meet jax on its way to the simulator.
"""
