import type { Logger, Metrics } from '@millrace/core';
import type { HandshakeOutcome } from './contract.ts';
import type { DtlsCounts } from './server.ts';

/** What CoAPS counts. */
export function dtlsCounts(
  metrics: Metrics,
  logger: Logger,
  state: () => { readonly handshakes: number; readonly sessions: number },
): DtlsCounts {
  const handshakes = metrics.counter('millrace_coaps_handshakes_total', 'DTLS handshakes by how they ended.', [
    'outcome',
  ]);
  const refused = metrics.counter(
    'millrace_coaps_records_refused_total',
    'DTLS records that were dropped: malformed, seen before (replayed), not authentic (forged), of no session (unknown), or a handshake beyond the limits.',
    ['reason'],
  );
  const moves = metrics.counter('millrace_coaps_moves_total', 'Sessions that changed their address by connection id.');
  const faults = metrics.counter('millrace_coaps_faults_total', 'Faults in the handling of a DTLS datagram.');
  metrics.gauge('millrace_coaps_sessions', 'Open DTLS sessions.', [], (gauge) => gauge.set(state().sessions));
  metrics.gauge('millrace_coaps_handshakes', 'DTLS handshakes under way.', [], (gauge) =>
    gauge.set(state().handshakes),
  );
  return {
    handshake: (outcome: HandshakeOutcome) => handshakes.inc({ outcome }),
    refused: (reason) => refused.inc({ reason }),
    moved: () => moves.inc(),
    fault: (error) => {
      faults.inc();
      logger.error({ err: error }, 'coaps: a datagram met a fault');
    },
  };
}
