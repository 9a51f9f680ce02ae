"""S3 and SQS with the standard library alone, where importing boto3 would cost more than all the work."""
