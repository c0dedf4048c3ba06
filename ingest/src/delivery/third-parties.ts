import type { EnvelopeReader, Gate, RequestContext } from '@millrace/core';

/** Verdicts that are remembered, so that one that had to be asked for is there when the record comes by again. */
const VERDICTS_MAX = 1_024;

/** Judges what other programs have written to a partition of the log: such a record bears no admission of ours, so the
 *  right of whom it names as its publisher decides, as the processors will decide when they store it. */
export class ThirdParties {
  readonly #gate: Gate;
  readonly #nowMs: () => number;
  readonly #verdicts = new Map<number, boolean | Promise<boolean>>();

  constructor(gate: Gate, nowMs: () => number) {
    this.#gate = gate;
    this.#nowMs = nowMs;
  }

  /** Whether subscribers may get the record at `offset`. A promise is given again until it has settled; one that was
   *  rejected (the registry is away) is forgotten. */
  judge(offset: number, reader: EnvelopeReader): boolean | Promise<boolean> {
    const verdicts = this.#verdicts;
    const known = verdicts.get(offset);
    if (known !== undefined) return known;
    for (const oldest of verdicts.keys()) {
      if (verdicts.size < VERDICTS_MAX) break;
      verdicts.delete(oldest);
    }
    const verdict = this.#ask(reader);
    if (typeof verdict === 'boolean') return verdict;
    verdicts.set(offset, verdict);
    verdict.then(
      (allowed) => verdicts.set(offset, allowed),
      () => verdicts.delete(offset),
    );
    return verdict;
  }

  #ask(reader: EnvelopeReader): boolean | Promise<boolean> {
    // The reader goes on to the next record.
    const { org, channel, subtopic, publisher, protocol } = reader;
    const context: RequestContext = {
      protocol,
      remoteAddress: '',
      tls: false,
      mutualTls: false,
      nowMs: this.#nowMs(),
    };
    const decide = (identified: Awaited<ReturnType<Gate['identify']>>): boolean | Promise<boolean> => {
      if (identified.kind === 'refused') return false;
      const admission = this.#gate.may(identified.principal, 'publish', channel, subtopic, context);
      // A channel is named by its id there, never by an alias, and belongs to the organisation that it is said to.
      const holds = (found: Awaited<typeof admission>): boolean =>
        found.kind === 'allow' && found.channel.org === org && found.channel.id === channel;
      return admission instanceof Promise ? admission.then(holds) : holds(admission);
    };
    const identified = this.#gate.identify({ kind: 'subject', id: publisher });
    return identified instanceof Promise ? identified.then(decide) : decide(identified);
  }
}
