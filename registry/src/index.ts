export * from './config.ts';
export * from './error.ts';
export { type ControlPlaneOptions, createControlPlane } from './http/control-plane.ts';
export type { OpenApiDocument } from './http/docs-page.ts';
export { largeBodies, openApiDocument } from './http/open-api.ts';
export type { HealthCheck } from './http/plane.ts';
export { type EmbeddedPostgres, type EmbeddedPostgresOptions, embeddedPostgres } from './postgres/server.ts';
export { type CredentialsFactory, openRegistry, type Registry, type RegistryOptions } from './registry.ts';
