export interface GateBenchOptions {
  /** Of the warm decisions. */
  readonly rounds: number;
  /** Of each kind of warm decision, a round. */
  readonly warmCount: number;
  /** Principals among whom the warm decisions go round. */
  readonly warmPrincipals: number;
  /** In the database. */
  readonly policies: number;
  /** Cold decisions of each kind, one after the other. */
  readonly coldCount: number;
  /** Principals whose memory is measured. */
  readonly cachedPrincipals: number;
  /** Ends what runs and rejects. */
  readonly signal?: AbortSignal;
}

export const GATE_FULL: GateBenchOptions = {
  rounds: 5,
  warmCount: 4_000_000,
  warmPrincipals: 1_000,
  policies: 1_000_000,
  coldCount: 2_000,
  cachedPrincipals: 100_000,
};
export const GATE_QUICK: GateBenchOptions = {
  ...GATE_FULL,
  rounds: 2,
  warmCount: 1_000_000,
  policies: 100_000,
  coldCount: 500,
  cachedPrincipals: 20_000,
};
