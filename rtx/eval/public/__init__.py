"""Public simulation suites behind the house's own `Environment`: one file each (docs/public_suites.md)."""
