import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { ConfigError, type Logger } from '@millrace/core';
import type { KafkaConfig } from '../config.ts';
import type { KafkaSasl, KafkaTls } from './client.ts';

export interface KafkaSecurity {
  readonly tls: KafkaTls | null;
  readonly sasl: KafkaSasl | null;
}

/** What the configuration says about TLS and the user, its files read.
 *  @throws ConfigError with all problems at once */
export function securityOf(config: KafkaConfig, logger: Logger): KafkaSecurity {
  const problems: string[] = [];
  const read = (name: keyof KafkaConfig): string | null => {
    const path = config[name];
    if (path === undefined) return null;
    try {
      return readFileSync(String(path), 'utf8');
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
      return null;
    }
  };
  const tls = {
    ca: read('MILLRACE_KAFKA_TLS_CA_FILE'),
    cert: read('MILLRACE_KAFKA_TLS_CERT_FILE'),
    key: read('MILLRACE_KAFKA_TLS_KEY_FILE'),
  };
  const named = [
    config.MILLRACE_KAFKA_TLS_CA_FILE,
    config.MILLRACE_KAFKA_TLS_CERT_FILE,
    config.MILLRACE_KAFKA_TLS_KEY_FILE,
  ].some((path) => path !== undefined);
  const encrypted = config.MILLRACE_KAFKA_TLS ?? named;
  if (!encrypted && named) problems.push('MILLRACE_KAFKA_TLS=off contradicts MILLRACE_KAFKA_TLS_*_FILE: leave one out');
  if ((tls.cert === null) !== (tls.key === null)) {
    problems.push('MILLRACE_KAFKA_TLS_CERT_FILE and MILLRACE_KAFKA_TLS_KEY_FILE belong together');
  }
  const sasl = saslOf(config, read('MILLRACE_KAFKA_PASSWORD_FILE'), problems);
  if (sasl !== null && !encrypted && !brokersOf(config).every(isLoopback)) {
    if (config.MILLRACE_KAFKA_TLS === undefined) {
      problems.push(
        'MILLRACE_KAFKA_SASL would send the password in the clear: set MILLRACE_KAFKA_TLS=on, or off to do it all the same',
      );
    } else logger.warn('the password for Kafka and all messages travel in the clear: MILLRACE_KAFKA_TLS=off');
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { tls: encrypted ? tls : null, sasl };
}

function saslOf(config: KafkaConfig, passwordOfFile: string | null, problems: string[]): KafkaSasl | null {
  const {
    MILLRACE_KAFKA_SASL: mechanism,
    MILLRACE_KAFKA_USER: user,
    MILLRACE_KAFKA_PASSWORD: given,
    MILLRACE_KAFKA_PASSWORD_FILE: file,
  } = config;
  if (mechanism === undefined) {
    if (user !== undefined || given !== undefined || file !== undefined)
      problems.push('MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD need MILLRACE_KAFKA_SASL');
    return null;
  }
  if (given !== undefined && file !== undefined) {
    problems.push('MILLRACE_KAFKA_PASSWORD and MILLRACE_KAFKA_PASSWORD_FILE: give one of them');
  }
  // Files end with a line break more often than passwords do.
  const password = given ?? passwordOfFile?.replace(/\r?\n$/, '');
  if (user === undefined) problems.push('MILLRACE_KAFKA_SASL needs MILLRACE_KAFKA_USER');
  if (password === undefined && file === undefined) {
    problems.push('MILLRACE_KAFKA_SASL needs MILLRACE_KAFKA_PASSWORD or MILLRACE_KAFKA_PASSWORD_FILE');
  } else if (password === '') problems.push('MILLRACE_KAFKA_PASSWORD_FILE is empty');
  return { mechanism, user: user ?? '', password: password ?? '' };
}

export function brokersOf(config: { readonly MILLRACE_KAFKA_BROKERS?: string | undefined }): string[] {
  return (config.MILLRACE_KAFKA_BROKERS ?? '')
    .split(',')
    .map((broker) => broker.trim())
    .filter((broker) => broker !== '');
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(broker: string): boolean {
  const host = broker.slice(0, broker.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  if (host === 'localhost') return true;
  const family = isIP(host);
  return family !== 0 && LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4');
}
