"""The console: pages and an API over the commands of the command line, served over HTTPS by the control process.

    start              starts the console for control; whatever it lacks, everything else goes on
    server             the HTTPS listener, and the lifetime of everything below
    app                the web application: API, pages, health checks, errors
    actions/           every action: authorized, performed, recorded in the audit log
    http/              every request: connections, headers, limits, the actor, problem documents
    live/              what outlives a request: list of sites, jobs, uploads, event streams
    pages/, api/       the two faces of the actions: HTML, and JSON with problem documents
    templates/         the pages' HTML
    static/            style sheet, script and icon

Decisions are in `certstore.model.console`, users and tokens in `certstore.people`. Pages and API know no files of the
store.
"""
