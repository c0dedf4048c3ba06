import { spawnSync } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateFiles } from './broker.ts';

/** A certificate of P-256 for the loopback interface, good for a day.
 *  @returns null where openssl is not installed */
export async function makeCertificate(directory: string): Promise<CertificateFiles | null> {
  const key = join(directory, 'key.pem');
  const certificate = join(directory, 'certificate.pem');
  const made = spawnSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
      ...['-keyout', key, '-out', certificate],
    ],
    { stdio: 'ignore' },
  );
  if (made.status !== 0) return null;
  // Another user may run the broker; the key lives as long as the measurement.
  await chmod(key, 0o644);
  return { key, certificate };
}
