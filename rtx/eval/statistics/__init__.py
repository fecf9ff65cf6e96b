"""What successes allow one to say: rates, differences and verdicts, each with an interval that is tested to hold the truth.

rates, differences    of one policy; of two, on the same episodes or not
comparison            a verdict on two; sequential: one that may be asked at any time
across                many rows at once: correction, interquartile mean
seeded                the same training with several seeds
sample_size           how many episodes a difference takes
"""
