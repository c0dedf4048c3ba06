import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningKafka, startKafka } from './kafka.ts';

export interface SecureKafka {
  /** Its clients speak TLS and must say who they are. */
  readonly brokers: string;
  /** The brokers' own listener: no TLS, no passwords. */
  readonly plaintext: string;
  readonly caFile: string;
  /** Of an authority of its own, that nobody trusts. */
  readonly otherCaFile: string;
  readonly user: string;
  readonly password: string;
  stop(): Promise<void>;
}

/** A real Kafka that asks for TLS and SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), with an authority of its own. */
export async function startSecureKafka(): Promise<SecureKafka> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-kafka-tls-'));
  const [user, password] = ['millrace', 'p-4f9 and more'];
  const file = (name: string): string => join(directory, name);
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { cwd: directory, stdio: 'ignore' });
  };
  for (const name of ['ca', 'other']) {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
    openssl('req', '-x509', ...key, '-out', `${name}.pem`, '-days', '2', '-subj', `/CN=millrace test ${name}`);
  }
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'broker.key', '-out', 'broker.csr', '-subj', '/CN=broker');
  writeFileSync(file('names'), 'subjectAltName=IP:127.0.0.1');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'broker.csr', ...signed, '-out', 'broker.pem', '-days', '2');
  // Kafka takes the key and the chain out of one PEM file.
  writeFileSync(
    file('keystore.pem'),
    readFileSync(file('broker.key'), 'utf8') + readFileSync(file('broker.pem'), 'utf8'),
  );
  const login = `org.apache.kafka.common.security.plain.PlainLoginModule required user_${user}="${password}";`;
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;';
  let kafka: RunningKafka;
  try {
    kafka = await startKafka({
      properties: {
        'listener.security.protocol.map': 'PLAINTEXT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': file('keystore.pem'),
        'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
        'listener.name.plaintext.plain.sasl.jaas.config': login,
        'listener.name.plaintext.scram-sha-256.sasl.jaas.config': scram,
        'listener.name.plaintext.scram-sha-512.sasl.jaas.config': scram,
      },
      format: ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name="${user}",password="${password}"]`,
      ]),
    });
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return {
    brokers: kafka.brokers,
    plaintext: kafka.nodes[0]?.internal ?? '',
    caFile: file('ca.pem'),
    otherCaFile: file('other.pem'),
    user,
    password,
    async stop() {
      await kafka.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
