"""Running graphs: workers, the dispatcher, operators, the environment."""
