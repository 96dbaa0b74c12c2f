"""`edge.yaml` and `site.yaml`: from text to valid values, or everything that is wrong with it.

Opens no file.

    models             all keys, what is allowed, and the defaults
    base               what every model is built on
    dns                how the edge writes into your DNS zones (`acme.dns`)
    loading            text to models, with file and line of every fault
    yaml_lines         strict YAML, with the line of every key
    tenant             what of a site.yaml counts that the tenant may write
    addresses          addresses, networks and names: the types of single values
    mail_address       addresses of people who get warnings
    response_headers   header fields that may be added to every answer
"""
