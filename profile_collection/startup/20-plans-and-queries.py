"""What is typed: bluesky's plans, plans that classify, and queries of what is stored."""
