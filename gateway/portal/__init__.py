"""The web page at /portal: server-rendered, the API's first client, in the same process."""
