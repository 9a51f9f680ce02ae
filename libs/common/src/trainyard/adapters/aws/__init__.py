"""SQS, S3 and EC2 behind the protocols of :mod:`trainyard.contracts`, and the set-up they need."""
