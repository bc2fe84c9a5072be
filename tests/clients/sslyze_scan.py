"""Scans the gateway whose host and port the arguments name with sslyze.

Exits with 0 if it offers TLS 1.3 and 1.2 with AEAD suites and forward secrecy only, and none of what
they should be without: compression, renegotiation, early data, and the known faults of other
implementations.
"""

import sys

from sslyze import (RobotScanResultEnum, ScanCommand, ScanCommandAttemptStatusEnum, Scanner,
                    ServerNetworkLocation, ServerScanRequest, ServerScanStatusEnum)

COMMANDS = [
    ScanCommand.SSL_2_0_CIPHER_SUITES, ScanCommand.SSL_3_0_CIPHER_SUITES,
    ScanCommand.TLS_1_0_CIPHER_SUITES, ScanCommand.TLS_1_1_CIPHER_SUITES,
    ScanCommand.TLS_1_2_CIPHER_SUITES, ScanCommand.TLS_1_3_CIPHER_SUITES,
    ScanCommand.TLS_COMPRESSION, ScanCommand.SESSION_RENEGOTIATION, ScanCommand.TLS_1_3_EARLY_DATA,
    ScanCommand.TLS_FALLBACK_SCSV, ScanCommand.TLS_EXTENDED_MASTER_SECRET,
    ScanCommand.OPENSSL_CCS_INJECTION, ScanCommand.HEARTBLEED, ScanCommand.ROBOT,
]
# The certificate of the gateway has a key for ECDSA.
SUITES = {
    "tls_1_3_cipher_suites": {
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    },
    "tls_1_2_cipher_suites": {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    },
    "tls_1_1_cipher_suites": set(),
    "tls_1_0_cipher_suites": set(),
    "ssl_3_0_cipher_suites": set(),
    "ssl_2_0_cipher_suites": set(),
}


def scan(host, port):
    location = ServerNetworkLocation("localhost", port, host)
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(location, scan_commands=set(COMMANDS))])
    (result,) = scanner.get_results()
    assert result.scan_status == ServerScanStatusEnum.COMPLETED, result.connectivity_error_trace
    for command in COMMANDS:
        attempt = getattr(result.scan_result, command.value)
        completed = attempt.status == ScanCommandAttemptStatusEnum.COMPLETED
        trace = attempt.error_trace and "".join(attempt.error_trace.format())
        assert completed, (command, attempt.error_reason, trace)
    return result.scan_result


def check(found):
    for version, expected in SUITES.items():
        suites = getattr(found, version).result.accepted_cipher_suites
        offered = {accepted.cipher_suite.name for accepted in suites}
        assert offered == expected, (version, offered)
    assert not found.tls_compression.result.supports_compression
    renegotiation = found.session_renegotiation.result
    assert renegotiation.client_renegotiations_success_count == 0, renegotiation
    assert not renegotiation.is_vulnerable_to_client_renegotiation_dos, renegotiation
    # RFC 5746: what protects against another's renegotiation is said, though there is none.
    assert renegotiation.supports_secure_renegotiation, renegotiation
    assert not found.tls_1_3_early_data.result.supports_early_data
    assert found.tls_fallback_scsv.result.supports_fallback_scsv
    assert found.tls_extended_master_secret.result.supports_ems_extension
    assert not found.openssl_ccs_injection.result.is_vulnerable_to_ccs_injection
    assert not found.heartbleed.result.is_vulnerable_to_heartbleed
    robot = found.robot.result.robot_result
    assert robot == RobotScanResultEnum.NOT_VULNERABLE_RSA_NOT_SUPPORTED, robot


check(scan(sys.argv[1], int(sys.argv[2])))
