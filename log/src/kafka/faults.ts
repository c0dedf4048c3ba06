import { LogError } from '@millrace/core';

const FENCING = new Set(['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'REBALANCE_IN_PROGRESS', 'FENCED_INSTANCE_ID']);

const CLOSED =
  'the broker closed the connection; if only one side speaks TLS at this port: MILLRACE_KAFKA_TLS=on, or off, or another port';

/** What an operator can do about what Kafka's protocol, TLS or a socket calls so. */
const ADVICE: Readonly<Record<string, string>> = {
  SASL_AUTHENTICATION_FAILED:
    'Kafka does not accept the user or the password: check MILLRACE_KAFKA_USER, MILLRACE_KAFKA_PASSWORD and MILLRACE_KAFKA_SASL',
  UNSUPPORTED_SASL_MECHANISM: 'the brokers do not offer this mechanism: choose another by MILLRACE_KAFKA_SASL',
  TOPIC_AUTHORIZATION_FAILED: 'the user lacks a right on the topic: see the access rules in docs/kafka.md',
  GROUP_AUTHORIZATION_FAILED: 'the user lacks a right on the consumer group: see the access rules in docs/kafka.md',
  CLUSTER_AUTHORIZATION_FAILED: 'the user lacks a right on the cluster: see the access rules in docs/kafka.md',
  UNKNOWN_TOPIC_OR_PARTITION:
    'the topic or partition is gone: somebody has deleted it; restart the nodes to create it anew',
  NOT_ENOUGH_REPLICAS: 'fewer replicas are in sync than min.insync.replicas asks for: see to the other brokers',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    'fewer replicas are in sync than min.insync.replicas asks for: see to the other brokers',
  KAFKA_STORAGE_ERROR: 'a broker cannot write to its disk: see that it is not full',
  INVALID_REPLICATION_FACTOR: 'the cluster has fewer brokers than MILLRACE_KAFKA_REPLICATION asks for',
  SELF_SIGNED_CERT_IN_CHAIN: 'the authority of the brokers is not known: name it by MILLRACE_KAFKA_TLS_CA_FILE',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the authority of the brokers is not known: name it by MILLRACE_KAFKA_TLS_CA_FILE',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the authority of the brokers is not known: name it by MILLRACE_KAFKA_TLS_CA_FILE',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the authority of the brokers is not known: name it by MILLRACE_KAFKA_TLS_CA_FILE',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate of the broker is not for the name it was asked by',
  CERT_HAS_EXPIRED: 'the certificate of the broker has expired',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the broker does not speak TLS at this port: another port, or MILLRACE_KAFKA_TLS=off',
  EPROTO: 'the broker does not speak TLS at this port: another port, or MILLRACE_KAFKA_TLS=off',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    'the brokers ask for a certificate: MILLRACE_KAFKA_TLS_CERT_FILE and MILLRACE_KAFKA_TLS_KEY_FILE',
  ENOTFOUND: 'the name of the broker does not resolve',
  EAI_AGAIN: 'the name of the broker does not resolve',
  CONNECTION_CLOSED: CLOSED,
  ECONNRESET: CLOSED,
};

/** An error of Kafka, TLS or a socket in the log's words.
 *  @shape name: of the protocol's error (`NOT_ENOUGH_REPLICAS`) or the system's (`ENOTFOUND`), null where there is none */
export function brokerFault(name: string | null, message: string, cause: unknown): LogError {
  if (name === 'MESSAGE_TOO_LARGE' || name === 'RECORD_LIST_TOO_LARGE') {
    return new LogError('LOG_RECORD_TOO_LARGE', 'never', { problem: name }, { cause });
  }
  if (name !== null && FENCING.has(name)) return new LogError('LOG_FENCED', 'never', { problem: name }, { cause });
  const advice = name === null ? undefined : ADVICE[name];
  const facts = { problem: name ?? message, ...(advice === undefined ? {} : { advice }) };
  return new LogError('LOG_UNREACHABLE', 'later', facts, { cause });
}

/** What a fault is counted as. */
export type FaultKind = 'replicas' | 'topic' | 'access' | 'name' | 'disk' | 'too_large' | 'fenced' | 'unreachable';

const KINDS: Readonly<Record<string, FaultKind>> = {
  NOT_ENOUGH_REPLICAS: 'replicas',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'replicas',
  UNKNOWN_TOPIC_OR_PARTITION: 'topic',
  SASL_AUTHENTICATION_FAILED: 'access',
  TOPIC_AUTHORIZATION_FAILED: 'access',
  GROUP_AUTHORIZATION_FAILED: 'access',
  CLUSTER_AUTHORIZATION_FAILED: 'access',
  ENOTFOUND: 'name',
  EAI_AGAIN: 'name',
  KAFKA_STORAGE_ERROR: 'disk',
};

export function faultKind(error: LogError): FaultKind {
  if (error.code === 'LOG_RECORD_TOO_LARGE') return 'too_large';
  if (error.code === 'LOG_FENCED') return 'fenced';
  return KINDS[String(error.facts.problem)] ?? 'unreachable';
}
