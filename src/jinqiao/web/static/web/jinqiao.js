/* 金桥: what pages do better with script. Every page works without it. */
"use strict";

/* Menus close by Escape and by a click elsewhere. */
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.switch[open]")) {
    if (menu !== except) menu.open = false;
  }
}
document.addEventListener("click", (event) => closeMenus(event.target.closest("details.switch")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.switch[open]");
  closeMenus(null);
  if (open) open.querySelector("summary").focus();
});

/* A form is sent once: the button that sent it says so. The browser's back button brings it to life again. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("data-repeatable")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  if (event.submitter) event.submitter.setAttribute("aria-busy", "true");
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

/* What has to be mended is read first. */
document.addEventListener("DOMContentLoaded", () => {
  const summary = document.querySelector(".error-summary");
  if (summary) summary.focus();
});

/* Lists that filter as one chooses: the button stays for whoever has no script. */
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit]");
  if (form && event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
});

/* "Print" is a link to this page without script; with it the dialog opens at once. */
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) {
    event.preventDefault();
    window.print();
  }
});

/* The number of ticked rows stands in the bar of bulk acts. */
document.addEventListener("change", (event) => {
  const table = event.target.closest("form");
  const output = table && table.querySelector("output[data-selected]");
  if (output) output.textContent = String(table.querySelectorAll("tbody input[type=checkbox]:checked").length);
});
