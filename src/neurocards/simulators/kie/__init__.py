"""A stand-in for KIE.ai that speaks its HTTP: file upload, tasks, callbacks, and real videos from the photos sent."""
