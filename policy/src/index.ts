export { type Circumstances, ConditionSchema, conditionText } from './condition.ts';
export { type GateLimits, gateLimits, PolicyConfig } from './config.ts';
export { type CredentialsOptions, createCredentials, type SigningCredentials } from './credentials.ts';
export { createEnforcer } from './enforcer.ts';
export { PolicyError, type PolicyErrorCode } from './errors.ts';
export { createGate, type GateOptions, type StoppableGate } from './gate.ts';
export { MODEL } from './model.ts';
export { createSealer } from './sealer.ts';
export { ACCESS_TOKEN_SECONDS, ACCESS_TOKEN_SECONDS_MAX, generateSigningKey, type SigningKey } from './tokens.ts';
