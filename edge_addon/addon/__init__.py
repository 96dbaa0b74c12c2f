"""The edge as an addon of mitmproxy.

Knows how mitmproxy starts and what it calls. Connections belong to `listeners`.

    edge           the addon: settings, plane, inspection and listeners from mitmproxy's start to its end
    hook_contexts  pyOpenSSL contexts for `hooks`
    hooks          the edge's certificates and challenges inside a mode of your own
    mode           the server mode `edge`, one instance per listener
    standalone     processes drops where no control process runs
"""
