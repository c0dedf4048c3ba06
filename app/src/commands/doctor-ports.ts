import { createSocket } from 'node:dgram';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { fail, ok, type Verdict, warn } from './verdict.ts';

export const LISTENERS = ['HTTP', 'MQTT', 'CoAP', 'CoAPS'] as const;
export type Listener = (typeof LISTENERS)[number];

const NOT_CHECKED = warn('not checked', 'Mend the configuration first.');
const COAPS_PORT = 5_684;

/** Whether a listener's port can be had. */
export async function portOf(config: Config | undefined, listener: Listener): Promise<Verdict> {
  if (config === undefined) return NOT_CHECKED;
  const port = configuredPort(config, listener);
  if (port === 'off') return ok('off');
  const { MILLRACE_HOST: host, MILLRACE_DATA_DIR: directory } = config.node;
  const error = await (listener.startsWith('CoAP') ? bindUdp(host, port) : bindTcp(host, port));
  if (error === null) return ok(`${host}:${port} is free`);
  const ready = join(directory, 'run', 'ready.json');
  if (error.code === 'EADDRINUSE' && existsSync(ready)) {
    const { pid } = JSON.parse(readFileSync(ready, 'utf8')) as { pid: number };
    return warn(
      `${host}:${port} is taken by the node that runs on this data directory (process ${pid})`,
      'Nothing to do, unless you wanted a second one.',
    );
  }
  const flag = listener === 'CoAPS' ? '' : `--${listener.toLowerCase()}-port, `;
  return fail(
    `${host}:${port}: ${error.message}`,
    `Stop what listens there, or choose another port (${flag}MILLRACE_${listener.toUpperCase()}_PORT).`,
  );
}

function configuredPort(config: Config, listener: Listener): number | 'off' {
  switch (listener) {
    case 'HTTP':
      return config.node.MILLRACE_HTTP_PORT;
    case 'MQTT':
      return config.mqtt.MILLRACE_MQTT_PORT;
    case 'CoAP':
      return config.coap.MILLRACE_COAP_PORT;
    case 'CoAPS':
      return config.coaps.MILLRACE_COAPS_PORT ?? (config.coaps.MILLRACE_COAPS ? COAPS_PORT : 'off');
  }
}

function bindTcp(host: string, port: number): Promise<NodeJS.ErrnoException | null> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', done);
    server.listen({ host, port, exclusive: true }, () => server.close(() => done(null)));
  });
}

function bindUdp(host: string, port: number): Promise<NodeJS.ErrnoException | null> {
  return new Promise((done) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', done);
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => done(null)));
  });
}

/** Whether the system gives CoAP the receive buffer that it asks for: what does not fit is lost. */
export function udpBuffers(config: Config | undefined): Verdict {
  if (config === undefined) return NOT_CHECKED;
  const wanted = config.coap.MILLRACE_COAP_RECEIVE_BUFFER_BYTES;
  const file = '/proc/sys/net/core/rmem_max';
  if (config.coap.MILLRACE_COAP_PORT === 'off' || !existsSync(file)) return ok('nothing to check');
  const given = Number(readFileSync(file, 'utf8'));
  return given < wanted
    ? warn(
        `${given} of ${wanted} bytes`,
        `Bursts of datagrams are lost: sysctl -w net.core.rmem_max=${2 * wanted} (and in /etc/sysctl.d).`,
      )
    : ok(`${wanted} bytes can be had`);
}
