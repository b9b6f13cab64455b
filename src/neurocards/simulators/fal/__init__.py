"""A stand-in for fal.ai that speaks its HTTP: storage, queue, signed webhooks, and real videos from the photos sent."""
