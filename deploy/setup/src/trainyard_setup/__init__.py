"""What a stack of containers does first: secrets, migrations, queues and buckets."""
