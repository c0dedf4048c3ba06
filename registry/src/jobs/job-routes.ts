import { isUuid, type Principal } from '@millrace/core';
import { example } from '../http/examples.ts';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import type { Job } from './jobs.ts';
import { JobAnswer, JobListQuery, JobsPage, ResultsPage, ResultsQuery } from './schemas.ts';

const tag = 'jobs';
const one = { description: 'The job.', schema: JobAnswer };
const examples = [{ name: 'of a job', parameters: { id: example.job }, status: 200 }];

export const jobRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/jobs',
      tag,
      summary: 'List jobs, newest first',
      query: JobListQuery,
      answers: { 200: { description: 'A page of jobs.', schema: JobsPage } },
      examples: [{ name: 'those that run', query: { status: 'running' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'jobs', 'jobs.list');
      const found = await plane.registry.jobs.list({ org, ...pageOf(call.query), status: call.query.status });
      return json(200, pageAnswer(found, 'jobs', jobAnswer));
    },
  ),
  route(
    { method: 'get', path: '/jobs/{id}', tag, summary: 'How far a job is', answers: { 200: one }, examples },
    async (call, plane) => json(200, jobAnswer(await jobFor(call, plane, 'read'))),
  ),
  route(
    {
      method: 'get',
      path: '/jobs/{id}/results',
      tag,
      summary: 'What became of each item of a job',
      description: 'As far as it has come; kept for 24 hours after its end.',
      query: ResultsQuery,
      answers: { 200: { description: 'A page of results, in the order of the request.', schema: ResultsPage } },
      examples,
    },
    async (call, plane) => {
      const job = await jobFor(call, plane, 'read');
      const { offset, limit } = pageOf(call.query);
      const errors = call.query.errors === 'true';
      const found = await plane.registry.jobs[errors ? 'errors' : 'results'](job, offset, limit);
      const principal = await call.principal();
      const withKeys =
        isOwn(job, principal) || (await plane.gate.allows(principal, job.org, 'things', 'things.update', call.context));
      return json(
        200,
        pageAnswer(found, 'results', ({ key, ...rest }) => (withKeys && key !== undefined ? { ...rest, key } : rest)),
      );
    },
  ),
  route(
    {
      method: 'post',
      path: '/jobs/{id}/cancel',
      tag,
      summary: 'Stop a job; what it has made stays',
      answers: { 200: one },
      examples,
    },
    async (call, plane) => {
      const { id } = await jobFor(call, plane, 'update');
      const job = await plane.registry.jobs.cancel(id);
      if (job === null) throw notFound('job');
      return json(200, jobAnswer(job));
    },
  ),
];

/** Keys and applications of the same user carry a part of their rights: only the one that asked for it counts. */
export const isOwn = ({ actor }: Pick<Job, 'actor'>, { subject, scope }: Principal): boolean =>
  actor.id === subject.id && (scope === null || scope.id === actor.via);

/** Who asked for a job may see and stop it, whatever their role is now.  @throws Refusal 404, 403 */
async function jobFor(call: Call<unknown, unknown>, plane: Plane, verb: 'read' | 'update'): Promise<Job> {
  const principal = await call.principal();
  const id = call.parameters.id ?? '';
  const job = isUuid(id) ? await plane.registry.jobs.get(id) : null;
  if (job === null) throw notFound('job');
  if (isOwn(job, principal) && (await isMember(principal, plane, job.org))) return job;
  await permit(call, plane, job.org, `jobs/${job.id}`, `jobs.${verb}`);
  return job;
}

export const jobAnswer = (job: Job) => ({
  id: job.id,
  org: job.org,
  kind: job.kind,
  status: job.status,
  unit: job.unit,
  total: job.total,
  done: job.done,
  failed: job.failed,
  reason: job.reason,
  result: job.result ?? null,
  created_at: job.createdAt.toISOString(),
  finished_at: job.finishedAt?.toISOString() ?? null,
});
