"""Running graphs: workers, the dispatcher, the operators of the roles, the environment."""
