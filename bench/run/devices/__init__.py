"""GPUs: which there are, who has one alone or shares it, and what becomes of one that is lost."""
