"""Claims of the source papers as commands: each trains what it compares, plays it, and says what the figures allow to say.

stages            whose folder, which stage, how long: shared with the quickstart
rt2_cotraining    RT-2's claim about co-fine-tuning with web data
report            its page and its table
"""
