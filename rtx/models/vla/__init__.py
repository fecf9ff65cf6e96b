"""Vision-language-action models: a public vision-language backbone that writes actions as text (RT-2, arXiv 2307.15818)."""
