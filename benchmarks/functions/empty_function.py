"""The limit: a function that does nothing."""


def handle(event, context):
    """Answer."""
    return {"statusCode": 200, "body": "{}"}
