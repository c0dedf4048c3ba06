import { fileURLToPath } from 'node:url';
import type { Figures } from '../figures.ts';
import type { Machine } from '../report.ts';

/** What `bench bridge` writes to bench/results. */
export interface BridgeReport {
  readonly format: 1;
  readonly benchmark: 'bridge';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: BridgeSettings;
  readonly figures: Figures;
  readonly targets: readonly BridgeTarget[];
}

export interface BridgeSettings {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly payloadSize: number;
  /** Server and generator each on a core of its own. */
  readonly pinned: boolean;
  /** Its version; null: not installed. */
  readonly mosquitto: string | null;
  /** Settings of the environment that reached the product; secrets and addresses left out. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface BridgeTarget {
  readonly name: string;
  readonly unit: string;
  readonly atLeast: boolean;
  readonly bound: number;
  /** null: not measured. */
  readonly value: number | null;
  readonly reached: boolean | null;
}

/** What the figures are held against. A target whose figures are not there is listed as not measured. */
export function judgeBridge(figures: Figures): BridgeTarget[] {
  const value = (name: string): number | null => figures[name]?.median ?? null;
  const ratio = (name: string): number | null => {
    const own = value(`millrace/${name}`);
    const other = value(`mosquitto/${name}`);
    return own === null || other === null || other === 0 ? null : own / other;
  };
  const target = (name: string, unit: string, found: number | null, atLeast: boolean, bound: number): BridgeTarget => ({
    name,
    unit,
    atLeast,
    bound,
    value: found === null ? null : Number(found.toPrecision(4)),
    reached: found === null ? null : atLeast ? found >= bound : found <= bound,
  });
  /** A percentile over less than all deliveries is none. */
  const whole = (base: string): number | null =>
    value(`${base}/missing`) === 0 ? value(`${base}/delivery_p99`) : null;
  return [
    target('publish → subscriber p99 at 3,000 messages/s, QoS 1', 'ms', whole('millrace/fan-in-3000'), false, 25),
    target(
      'QoS 1 publishes/s to mosquitto, one in flight',
      '×',
      ratio('publish/qos-1/in-flight-1/publishes_per_second'),
      true,
      0.45,
    ),
    target('one subscriber to everything, p99 at half of the maximum', 'ms', whole('millrace/half'), false, 30),
    target(
      "TLS 1.3 connects to mosquitto, for each second of the server's CPU",
      '×',
      ratio('connect/tls/connects_per_core_second'),
      true,
      0.4,
    ),
    target('10,000 idle connections above idle (PSS)', 'MiB', idleOf(figures), false, 300),
  ];
}

const IDLE_CONNECTIONS = 10_000;

/** null: fewer could be opened. */
function idleOf(figures: Figures): number | null {
  if ((figures['millrace/idle/connections']?.median ?? 0) < IDLE_CONNECTIONS) return null;
  return figures['millrace/idle/above_pss']?.median ?? null;
}

/** bench/results/<date>-bridge.json in the package, wherever it was built. */
export function bridgeResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-bridge.json`, import.meta.url));
}
