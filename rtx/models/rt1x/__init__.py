"""RT-1 and RT-1-X as published (arXiv 2212.06817, 2310.08864), with the released parameter names, computed in less time.

config.py         every number; presets rt1x(), rt1()
efficientnet.py   EfficientNet with FiLM after every block      depthwise.py   its costly operation
image_tokenizer.py  picture + sentence -> image tokens
transformer.py    image tokens -> logits of the action tokens, and nothing that nobody reads
actions.py        the canonical action as RT-1's eleven tokens and back
network.py, model.py   the whole, behind the Model protocol
released.py       the released checkpoint: its tree, read from either format and checked leaf by leaf
"""
