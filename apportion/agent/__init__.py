"""The agent that proposes: a loop of questions to a language model, or to whatever answers in its place."""
