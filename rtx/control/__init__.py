"""From chunks of actions to a moving arm: execution of chunks, the guard before the driver, the loop between them."""
