"""AgentTTS (arXiv 2508.00890): an agent chooses a model, a number of samples and a way of merging for each stage."""
