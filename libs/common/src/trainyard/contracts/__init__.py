"""What the services need from the outside world, as protocols. Adapters and fakes implement them."""
