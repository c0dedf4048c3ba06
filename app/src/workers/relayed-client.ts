import { createHash } from 'node:crypto';
import type { RelayedClient } from '@millrace/ingest';

/** Header field by which a worker tells the main process who asks. Only those say it: the socket between them is nobody
 *  else's, and of what clients send it is taken out. */
export const RELAYED_CLIENT = 'millrace-relayed-client';

export function writeClient({ remoteAddress, tls, mutualTls, certificate }: RelayedClient): string {
  const shown = certificate === null ? '' : Buffer.from(certificate.certificate).toString('base64');
  return `${tls ? 1 : 0} ${mutualTls ? 1 : 0} ${remoteAddress} ${shown}`;
}

export function readClient(header: (name: string) => string | undefined): RelayedClient {
  const [tls, mutualTls, remoteAddress = '', shown = ''] = (header(RELAYED_CLIENT) ?? '').split(' ');
  const der = Buffer.from(shown, 'base64');
  const fingerprint = createHash('sha256').update(der).digest('hex');
  return {
    remoteAddress,
    tls: tls === '1',
    mutualTls: mutualTls === '1',
    certificate: der.length === 0 ? null : { kind: 'certificate', fingerprint, certificate: der },
  };
}
