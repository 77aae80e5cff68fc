// What the container is told to start: the task as prompt, the role's rules as system prompt.
import mayor from "../../config/prompts/mayor.md";
import polecat from "../../config/prompts/polecat.md";
import refinery from "../../config/prompts/refinery.md";
import triage from "../../config/prompts/triage.md";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").Bead} Bead */

/** @type {Record<import("./types.js").Role, string>} */
const PROMPTS = { mayor, polecat, refinery, triage };

/**
 * Fills the `{{placeholders}}`, each once: what a value itself holds is not expanded.
 * @param {string} template
 * @param {Record<string, string>} values
 */
export function render(template, values) {
  return template.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_, name) => {
    if (!Object.hasOwn(values, name)) throw new Error(`the prompt names an unknown placeholder {{${name}}}: known are ${Object.keys(values).join(", ")}`);
    return values[name];
  });
}

/**
 * @param {AgentRow} agent
 * @param {import("./types.js").RigRow} rig
 * @param {{townId: string, model: string, dispatchId: string}} context
 */
export function startRequest(agent, rig, { townId, model, dispatchId }) {
  /** @type {Bead | null} */
  const bead = agent.bead === null ? null : JSON.parse(agent.bead);
  const systemPrompt = render(PROMPTS[agent.role], {
    agentId: agent.agent_id,
    rigId: agent.rig_id,
    rigName: rig.name,
    townId,
    name: agent.name,
    role: agent.role,
    identity: agent.identity,
    branch: agent.branch,
    defaultBranch: rig.default_branch,
    beadId: bead?.beadId ?? "none",
    beadTitle: bead?.title ?? "no task is assigned yet",
  });
  return {
    agentId: agent.agent_id,
    rigId: agent.rig_id,
    townId,
    role: agent.role,
    name: agent.name,
    identity: agent.identity,
    prompt: bead ? `${bead.title}\n\n${bead.body}`.trim() : "Read gt_prime: it says what is waiting for you.",
    model,
    systemPrompt,
    gitUrl: rig.git_url,
    branch: agent.branch,
    defaultBranch: rig.default_branch,
    envVars: {},
    ...(agent.base_ref === null ? {} : { startPoint: agent.base_ref }),
    dispatchId,
  };
}
