//! Going out to look: DNSBL, FCrDNS.
