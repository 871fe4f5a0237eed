"""The HTTP side of a cluster: the course's calls, and the dashboard at ``/``.

Reading order::

    access, guard          who may ask what; the door that every request passes   (pure, ASGI)
    problems, reasons      the one shape of all errors   (pure)
    gateway                everything that requests need, in one object
    engines, batches       batches on this machine, and on the cluster
    live                   follows the history: task_book, event_ring, figures, timeline, last_fault
    moments, promises      what the dashboard shows at one moment   (pure)
    broadcast              sends the moments to all open pages
    routes, app, server    the addresses, the application, uvicorn
    serving, __main__      the HTTP side as a process, by hand or in a container
    static                 the pages: HTML, style sheets and scripts, served as they are
"""
