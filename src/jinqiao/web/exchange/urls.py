from django.urls import path, re_path

from jinqiao.web.exchange.views import bindings, calls, nodes, runs, services, sources, tasks

app_name = "exchange"

urlpatterns = [
    path("nodes", nodes.nodes, name="nodes"),
    path("nodes/new", nodes.node_new, name="node_new"),
    path("nodes/<int:pk>", nodes.node, name="node"),
    path("nodes/<int:pk>/code", nodes.node_code, name="node_code"),
    re_path(r"^nodes/(?P<pk>\d{1,18})/(?P<verb>suspend|resume|retire)$", nodes.node_state, name="node_state"),
    path("sources", sources.sources, name="sources"),
    path("sources/new", sources.source_new, name="source_new"),
    path("sources/<int:pk>", sources.source, name="source"),
    path("sources/<int:pk>/edit", sources.source_change, name="source_change"),
    path("sources/<int:pk>/test", sources.source_test, name="source_test"),
    path("sources/<int:pk>/tables", sources.source_tables, name="source_tables"),
    path("sources/<int:pk>/password", sources.source_password, name="source_password"),
    path("bindings", bindings.bindings, name="bindings"),
    path("bindings/<int:pk>", bindings.bind, name="bind"),
    path("tasks", tasks.tasks, name="tasks"),
    path("tasks/<int:pk>", tasks.task, name="task"),
    path("tasks/<int:pk>/configure", tasks.task_configure, name="task_configure"),
    path("tasks/<int:pk>/start", tasks.task_start, name="task_start"),
    path("tasks/<int:pk>/pause", tasks.task_pause, name="task_pause"),
    path("tasks/<int:pk>/resume", tasks.task_resume, name="task_resume"),
    path("tasks/<int:pk>/limit", tasks.task_limit, name="task_limit"),
    path("runs", runs.runs, name="runs"),
    path("runs/<int:pk>", runs.run, name="run"),
    path("runs/<int:pk>/stop", runs.run_stop, name="run_stop"),
    path("services", services.services, name="services"),
    path("services/<int:pk>", services.service, name="service"),
    path("services/<int:pk>/attach", services.service_attach, name="service_attach"),
    path("services/<int:pk>/detach/<int:application>", services.service_detach, name="service_detach"),
    path("services/<int:pk>/limit", services.service_limit, name="service_limit"),
    re_path(r"^services/(?P<pk>\d{1,18})/(?P<verb>suspend|resume)$", services.service_state, name="service_state"),
    path("calls", calls.calls, name="calls"),
]
