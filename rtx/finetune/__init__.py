"""Fine-tuning: a checkpoint and a new robot's demonstrations in, a policy of that robot out.

modes.py      what each mode trains, by model family
base.py       the checkpoint without its arrays
fit.py        does the robot fit it, and what if not
data.py       demonstrations, and a share of the pre-training's data
memory.py     what a mode needs and what is there
plan.py       all of these to one TrainConfig, with reasons
run.py        the story: data, plan, training, the best checkpoint, errors, page
openloop.py   action error per dimension on held-out episodes
page.py       RUN/report.html
"""

from rtx.finetune.run import finetune

__all__ = ["finetune"]
