"""What pages show, made from what the services answered; pure, and never surprised by an answer.

Answers are read field by field with a fallback for each: a service of another release, or a broken one, costs a dash
on the page and not the page.
"""
