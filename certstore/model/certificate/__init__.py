"""Certificates and keys: recognised in bytes, paired, put in order and checked.

No files, no sites, no clock.

    bundle         the way in: from files to a `CertificateBundle`, or the reasons why not
    dropped_file   a file that came in: a name and bytes
    contents       recognises certificates and keys in files of any format
    pem, der       the two encodings: blocks in text, the outermost structure of binary files
    key_algorithm  which private keys may be loaded at all
    x509_facts     one certificate's facts, and whether one signed another
    chain          puts intermediates in the order in which a server sends them
    checks         the rules that a pair and its chain have to pass
    findings       refusals and problems: codes and messages
    expiry         the state of a certificate at an instant
"""
