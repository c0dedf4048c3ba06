import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes } from 'aedes';
import { childOptions, tell } from '../../floors/options.ts';
import type { CertificateFiles } from './broker.ts';

/** Floor: the library with nothing behind it. */
const { certificate } = childOptions<{ certificate: CertificateFiles | null }>();
const broker = await Aedes.createBroker();
const port = await listening(createServer({ noDelay: true }, broker.handle));
const tlsPort =
  certificate === null
    ? null
    : await listening(
        createTlsServer(
          {
            noDelay: true,
            minVersion: 'TLSv1.3',
            cert: readFileSync(certificate.certificate),
            key: readFileSync(certificate.key),
          },
          broker.handle,
        ),
      );
tell({ port, tlsPort });

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', 4_096, () => resolve((server.address() as AddressInfo).port));
  });
}
