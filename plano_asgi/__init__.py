"""The LLM router that lives inside the web service you already have."""
