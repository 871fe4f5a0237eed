# %% [markdown] lang="es"
# # Práctica del día 1: hilos
#
# Al acabar, habrás entregado una tarea a un executor, leído de muchas fuentes a la vez y puesto orden entre hilos
# que comparten algo.
#
# **Duración**: {{minutes_of_day_1}} minutos. Caben en la hora libre. Si tienes menos tiempo, haz 1, 2 y 3.
# **Antes de empezar**: la parte guiada del [día 1](day1_threads.ipynb), o saber qué son un hilo y un `Future`.

# %% [markdown] lang="en"
# # Practice for day 1: threads
#
# Afterwards you will have handed a task to an executor, read from many sources at once, and brought order among
# threads that share something.
#
# **Time**: {{minutes_of_day_1}} minutes. They fit into the free hour. With less time, do 1, 2 and 3.
# **Before you begin**: the guided part of [day 1](day1_threads.ipynb), or know what a thread and a `Future` are.

# %%
from labkit.practice.notebook import begin

begin("{{lang}}", day=1)

# %% [markdown] lang="es"
# {{how_to_practice}}

# %% [markdown] lang="en"
# {{how_to_practice}}

# %% exercises=1 varies=["racy-counter"]

# %% [markdown] lang="es"
# ## ¿Hasta dónde llegaste?
#
# Mañana, [procesos](day2_processes.ipynb). La [página de inicio](index.ipynb) lleva a todo lo demás.

# %% [markdown] lang="en"
# ## How far are you?
#
# Tomorrow, [processes](day2_processes.ipynb). The [start page](index.ipynb) leads to everything else.

# %%
# %practice 1
