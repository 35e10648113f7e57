"""The HTTP door: other people's APIs in front of our one application.

site        routes → ASGI application            what a reader opens first
endpoint    a request on its way: counted, traced, admitted, answered or refused
bodies      bodies within their limits, as fields
forms       forms as fields and files
statuses    our errors → HTTP statuses
protection  headers of browsers' safety, foreign origins and hosts
listening   uvicorn in the server's own event loop
connection  one connection, with a limit on headers
"""
