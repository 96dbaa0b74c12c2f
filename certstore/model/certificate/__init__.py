"""Certificates and keys: recognised in bytes, paired, put in order and checked.

No files, no sites, no clock.

    bundle               the way in: from files to a `CertificateBundle`, or the reasons why not
    dropped_file         a file that came in: a name and bytes
    contents             recognises certificates and keys in files of any format
    collections          the parts of PKCS #7 and PKCS #12 files
    password_encryption  decrypts the parts of a PKCS #12 file that the library refuses
    pem, der             the two encodings: blocks in text, the structure of binary files
    library              asks the crypto library, and catches anything that it raises
    x509_fields          a certificate's fields as they are encoded, each on its own
    x509_names           distinguished names, for people and for comparing
    signatures           whether a key made a signature
    key_algorithm        which private keys may be loaded at all
    x509_facts           one certificate's facts, and whether one signed another
    key_form             the form in which a private key is stored
    chain                puts intermediates in the order in which a server sends them
    client_rules         what a TLS client's own verification says to a chain
    checks               the rules that a pair and its chain have to pass
    findings             refusals and problems: codes and messages
    expiry               the state of a certificate at an instant
"""
