"""The pages, an area each: what is asked of the services, what is shown, what may be changed."""
