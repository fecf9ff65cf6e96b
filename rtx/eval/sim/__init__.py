"""Simulated arms: scenes, tasks, scripted experts, rendering for a CPU. Import from the modules: this loads nothing."""
